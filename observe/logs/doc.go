// Package logs stores what functions log, and serves it.
//
// Events belong to a stream, streams to a group, as in CloudWatch Logs. A Store
// keeps each group in a directory of append-only segments, oldest first:
//
//	DIR/<group, escaped>/group.json    name, creation time, retention
//	DIR/<group, escaped>/00000001.log  one event per line, all streams together
//	DIR/<group, escaped>/00000001.idx  what is in it, once it is full
//
// Put only queues; one goroutine writes. Whole segments are deleted to keep a
// group within its size and its retention. After a crash a torn last line is
// cut off, and an index that is missing is made again. Nothing is synced to the
// disk: a crash of the machine, not of the process, may lose the last seconds.
//
// Handler serves a Store by the protocol of the CloudWatch Logs API.
package logs
