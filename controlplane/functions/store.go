package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"kiln/lambda"
)

// store reads and writes the registry's keys. All its reads are linearizable.
type store struct {
	client *clientv3.Client
}

// loaded is a state together with the revisions it was read at.
type loaded struct {
	state
	key             lambda.FunctionKey
	recordRevision  int64 // mod revision, 0 for a key that does not exist
	accountRevision int64
}

// load reads what the command c can see.
func (s store) load(ctx context.Context, c command) (loaded, error) {
	key := c.key()
	l := loaded{key: key}
	resp, err := s.client.Txn(ctx).Then(
		clientv3.OpGet(recordKey(key)),
		clientv3.OpGet(accountKey(key.Account)),
		clientv3.OpGet(retiredKey(key)),
	).Commit()
	if err != nil {
		return l, fmt.Errorf("read %s: %w", key, err)
	}
	for _, r := range resp.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			switch string(kv.Key) {
			case recordKey(key):
				l.recordRevision = kv.ModRevision
				l.record, err = decode[record](kv.Value)
			case accountKey(key.Account):
				l.accountRevision = kv.ModRevision
				err = json.Unmarshal(kv.Value, &l.account)
			case retiredKey(key):
				l.retired, err = strconv.Atoi(string(kv.Value))
			}
			if err != nil {
				return l, fmt.Errorf("decode %s: %w", kv.Key, err)
			}
		}
	}
	// Reading these later does no harm: versions change only together with the
	// record, whose revision the commit compares.
	l.versions = map[int]*lambda.Version{}
	for _, n := range c.wants(l.record) {
		v, err := s.version(ctx, key, n)
		if err != nil {
			return l, err
		}
		if v != nil {
			l.versions[n] = v
		}
	}
	return l, nil
}

// version reads a published version, nil if there is none.
func (s store) version(ctx context.Context, key lambda.FunctionKey, n int) (*lambda.Version, error) {
	resp, err := s.client.Get(ctx, versionKey(key, n))
	if err != nil {
		return nil, fmt.Errorf("read version %d of %s: %w", n, key, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	return decode[lambda.Version](resp.Kvs[0].Value)
}

// commit stores the outcome of a command if nothing that it depends on has
// changed since before was read; ok is false if something has. revision is that
// of the store after the write.
func (s store) commit(ctx context.Context, before loaded, after state, eff effects) (revision int64, ok bool, err error) {
	key := before.key
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(recordKey(key)), "=", before.recordRevision)}
	var ops []clientv3.Op
	if after.account != before.account {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(accountKey(key.Account)), "=", before.accountRevision))
		ops = append(ops, put(accountKey(key.Account), after.account))
	}
	if after.record != nil {
		ops = append(ops, put(recordKey(key), after.record))
	} else {
		ops = append(ops, clientv3.OpDelete(recordKey(key)))
	}
	for _, v := range eff.put {
		n, _ := versionNumber(v.Key.Number)
		ops = append(ops, put(versionKey(key, n), v))
	}
	for _, n := range eff.remove {
		ops = append(ops, clientv3.OpDelete(versionKey(key, n)))
	}
	if eff.removeAll {
		ops = append(ops, clientv3.OpDelete(versionsOf(key), clientv3.WithPrefix()))
	}
	switch {
	case eff.retire > 0:
		ops = append(ops, clientv3.OpPut(retiredKey(key), strconv.Itoa(eff.retire)))
	case before.record == nil && before.retired > 0:
		ops = append(ops, clientv3.OpDelete(retiredKey(key))) // the new record knows it now
	}
	resp, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Commit()
	if err != nil {
		return 0, false, fmt.Errorf("write %s: %w", key, err)
	}
	return resp.Header.Revision, resp.Succeeded, nil
}

// function reads a record and, if number is not 0, one published version of it,
// both as of one moment. What does not exist is nil. revision is the latest
// change of what was read.
func (s store) function(ctx context.Context, key lambda.FunctionKey, number int) (r *record, v *lambda.Version, revision int64, err error) {
	ops := []clientv3.Op{clientv3.OpGet(recordKey(key))}
	if number != 0 {
		ops = append(ops, clientv3.OpGet(versionKey(key, number)))
	}
	resp, err := s.client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, nil, 0, fmt.Errorf("read %s: %w", key, err)
	}
	for i, answer := range resp.Responses {
		for _, kv := range answer.GetResponseRange().Kvs {
			revision = max(revision, kv.ModRevision)
			if i == 0 {
				r, err = decode[record](kv.Value)
			} else {
				v, err = decode[lambda.Version](kv.Value)
			}
			if err != nil {
				return nil, nil, 0, fmt.Errorf("decode %s: %w", kv.Key, err)
			}
		}
	}
	return r, v, revision, nil
}

// span is a range of keys to scan.
type span struct {
	start, end string
	// revision is the moment to read at, 0 for now.
	revision int64
	// batch is how many keys to read at a time.
	batch int64
}

const wholeBatch = 500

// all spans everything below prefix.
func all(prefix string) span {
	return span{start: prefix, end: prefixEnd(prefix), batch: wholeBatch}
}

// scan calls each with the keys and values of the span, in order and as of one
// revision, until it returns false. It returns that revision.
func (s store) scan(ctx context.Context, in span, each func(revision int64, key string, value []byte) (bool, error)) (int64, error) {
	for {
		resp, err := s.client.Get(ctx, in.start, clientv3.WithRange(in.end), clientv3.WithLimit(in.batch), clientv3.WithRev(in.revision))
		if err != nil {
			return 0, fmt.Errorf("read from %s: %w", in.start, err)
		}
		if in.revision == 0 {
			in.revision = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			if more, err := each(in.revision, string(kv.Key), kv.Value); err != nil || !more {
				return in.revision, err
			}
		}
		if !resp.More {
			return in.revision, nil
		}
		in.start = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// identity returns the name of the store, which stays the same for its life, and
// its current revision.
func (s store) identity(ctx context.Context) (string, int64, error) {
	resp, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(identityKey), "=", 0)).
		Then(clientv3.OpPut(identityKey, uuid.NewString()), clientv3.OpGet(identityKey)).
		Else(clientv3.OpGet(identityKey)).
		Commit()
	if err != nil {
		return "", 0, fmt.Errorf("read the store's identity: %w", err)
	}
	answers := resp.Responses
	return string(answers[len(answers)-1].GetResponseRange().Kvs[0].Value), resp.Header.Revision, nil
}

func put(key string, value any) clientv3.Op {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // plain data always encodes
	}
	return clientv3.OpPut(key, string(text))
}

func decode[T any](text []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, err
	}
	return v, nil
}
