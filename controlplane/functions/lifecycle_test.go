package functions

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kiln/controlplane"
	"kiln/lambda"
)

var testLimits = Limits{Concurrency: 130, MinUnreserved: 100, CodeBytes: 60}

// world holds what the store would hold, and applies commands to it.
type world struct {
	account  account
	records  map[lambda.FunctionKey]*record
	retired  map[lambda.FunctionKey]int
	versions map[lambda.FunctionKey]map[int]*lambda.Version
	now      time.Time
	ids      int
}

func newWorld() *world {
	return &world{
		records:  map[lambda.FunctionKey]*record{},
		retired:  map[lambda.FunctionKey]int{},
		versions: map[lambda.FunctionKey]map[int]*lambda.Version{},
		now:      time.Unix(1e9, 0).UTC(),
	}
}

func (w *world) do(c command) (effects, error) {
	w.now = w.now.Add(time.Second)
	env := environment{"us-east-1", testLimits, w.now, func() string { w.ids++; return strconv.Itoa(w.ids) }}
	k := c.key()
	s := state{account: w.account, record: w.records[k], retired: w.retired[k], versions: map[int]*lambda.Version{}}
	for _, n := range c.wants(s.record) {
		if v := w.versions[k][n]; v != nil {
			s.versions[n] = v
		}
	}
	after, eff, err := apply(env, s, c)
	if err != nil || after.record == s.record {
		return eff, err
	}
	w.account = after.account
	if w.versions[k] == nil || eff.removeAll {
		w.versions[k] = map[int]*lambda.Version{}
	}
	for _, v := range eff.put {
		n, _ := strconv.Atoi(v.Key.Number)
		w.versions[k][n] = v
	}
	for _, n := range eff.remove {
		delete(w.versions[k], n)
	}
	if after.record == nil {
		delete(w.records, k)
		w.retired[k] = eff.retire
	} else {
		w.records[k] = after.record
		delete(w.retired, k)
	}
	return eff, nil
}

// model is the oracle for one function: what a user may expect, in the plainest
// form. Code and configuration are small numbers.
type model struct {
	exists    bool
	code, mem int    // of $LATEST
	desc      string // of $LATEST
	runs      string // "code/mem" that $LATEST runs, "" for none
	state     lambda.State
	update    lambda.UpdateStatus
	reserved  int
	highest   int // version number ever, over deletions
	// published maps number to "code/mem/desc"; ready says which can run.
	published map[int]string
	ready     map[int]lambda.State
	last      int    // number that a publication of unchanged code returns, 0 for none
	lastWhat  string // "code/mem/desc" of $LATEST then
	waiting   int    // published with an update that is not prepared yet
}

func (m *model) what() string { return fmt.Sprintf("%d/%d/%s", m.code, m.mem, m.desc) }
func (m *model) run() string  { return fmt.Sprintf("%d/%d", m.code, m.mem) }
func (m *model) busy() bool {
	return m.state == lambda.StatePending || m.update == lambda.UpdateInProgress
}

// size is the package size of a code.
func size(code int) int64 { return int64(code) }

func (m *model) bytes() (n int64) {
	if !m.exists {
		return 0
	}
	n = size(m.code)
	for _, p := range m.published {
		var code int
		fmt.Sscanf(p, "%d/", &code)
		n += size(code)
	}
	return n
}

func pkg(code int) lambda.Package {
	return lambda.Package{SHA256: fmt.Sprint("sha", code), Size: size(code), Image: fmt.Sprint("image", code)}
}

func what(v *lambda.Version) string {
	return fmt.Sprintf("%d/%d/%s", v.Code.Size, v.Config.MemoryMB, v.Config.Description)
}

func TestLifeCycleModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		models := map[lambda.FunctionKey]*model{}
		var keys []lambda.FunctionKey
		for _, name := range []string{"a", "b"} {
			k := lambda.FunctionKey{Account: "000000000000", Name: name}
			keys = append(keys, k)
			models[k] = &model{}
		}
		total := func() (bytes int64, reserved, functions int) {
			for _, m := range models {
				bytes += m.bytes()
				if m.exists {
					reserved += m.reserved
					functions++
				}
			}
			return bytes, reserved, functions
		}
		// identity of everything that ever served, and of every version published.
		served := map[lambda.VersionKey]string{}
		immutable := map[lambda.VersionKey]string{}
		expect := func(err error, code lambda.Code) bool {
			if lambda.CodeOf(err) != code {
				t.Fatalf("error %v, want code %q", err, code)
			}
			return err == nil
		}
		key := rapid.SampledFrom(keys)
		code := rapid.IntRange(1, 12)
		flag := rapid.Bool()
		// publish is the oracle's publication of a $LATEST in the given state.
		publish := func(m *model, s lambda.State) int {
			m.highest++
			m.published[m.highest], m.ready[m.highest] = m.what(), s
			m.last, m.lastWhat = m.highest, m.what()
			return m.highest
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				k, n, pub := key.Draw(t, "key"), code.Draw(t, "code"), flag.Draw(t, "publish")
				m := models[k]
				want := size(n)
				if pub {
					want *= 2
				}
				bytes, _, _ := total()
				eff, err := w.do(create{controlplane.NewFunction{Key: k, Config: lambda.Config{MemoryMB: 128}, Publish: pub}, pkg(n)})
				switch {
				case m.exists:
					expect(err, lambda.CodeConflict)
					return
				case bytes+want > testLimits.CodeBytes:
					expect(err, lambda.CodeCodeStorageExceeded)
					return
				}
				expect(err, "")
				*m = model{exists: true, code: n, mem: 128, state: lambda.StatePending, update: lambda.UpdateInProgress,
					highest: m.highest, published: map[int]string{}, ready: map[int]lambda.State{}}
				number := lambda.Latest
				if pub {
					m.waiting = publish(m, lambda.StatePending)
					number = strconv.Itoa(m.waiting)
				}
				if eff.result.Key.Number != number || eff.result.State != lambda.StatePending || eff.prepare == nil {
					t.Fatalf("created %+v, want a pending %s to prepare", eff.result, number)
				}
			},
			"updateCode": func(t *rapid.T) {
				k, n, pub, dry := key.Draw(t, "key"), code.Draw(t, "code"), flag.Draw(t, "publish"), rapid.IntRange(0, 3).Draw(t, "dry") == 0
				m := models[k]
				c := updateCode{controlplane.CodeChange{Key: k, Publish: pub, DryRun: dry}, pkg(n)}
				stale := flag.Draw(t, "stale")
				if stale {
					c.request.RevisionID = "stale"
				} else if m.exists {
					c.request.RevisionID = w.records[k].Latest.RevisionID
				}
				bytes, _, _ := total()
				eff, err := w.do(c)
				switch {
				case !m.exists:
					expect(err, lambda.CodeNotFound)
					return
				case stale:
					expect(err, lambda.CodePreconditionFailed)
					return
				case m.busy():
					expect(err, lambda.CodeConflict)
					return
				}
				grown := size(n) - size(m.code)
				next := *m
				next.code = n
				again := pub && m.last != 0 && m.lastWhat == next.what()
				if grown > 0 && bytes+grown > testLimits.CodeBytes || pub && !again && !dry && bytes+grown+size(n) > testLimits.CodeBytes {
					expect(err, lambda.CodeCodeStorageExceeded)
					return
				}
				expect(err, "")
				if dry {
					if eff.result.Code.Size != size(n) || eff.prepare != nil {
						t.Fatalf("dry run: %+v", eff)
					}
					return
				}
				m.code, m.update = n, lambda.UpdateInProgress
				if pub && !again {
					m.waiting = publish(m, lambda.StatePending)
				}
				if again && eff.result.Key.Number != strconv.Itoa(m.last) {
					t.Fatalf("published %s again, want %d", eff.result.Key.Number, m.last)
				}
			},
			"updateConfig": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m := models[k]
				mem := 128 * rapid.IntRange(1, 2).Draw(t, "memory")
				desc := rapid.SampledFrom([]string{"", "x"}).Draw(t, "description")
				_, err := w.do(updateConfig{controlplane.ConfigChange{Key: k, MemoryMB: &mem, Description: &desc}})
				switch {
				case !m.exists:
					expect(err, lambda.CodeNotFound)
					return
				case m.busy():
					expect(err, lambda.CodeConflict)
					return
				}
				expect(err, "")
				if mem != m.mem || m.runs == "" || m.update == lambda.UpdateFailed {
					m.update = lambda.UpdateInProgress
				}
				m.mem, m.desc = mem, desc
			},
			"publish": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m := models[k]
				c := publishVersion{controlplane.Publication{Key: k}}
				wrong := rapid.IntRange(0, 4).Draw(t, "wrongCode") == 0
				if wrong {
					c.request.CodeSHA256 = "other"
				}
				bytes, _, _ := total()
				eff, err := w.do(c)
				switch {
				case !m.exists:
					expect(err, lambda.CodeNotFound)
				case m.busy():
					expect(err, lambda.CodeConflict)
				case wrong:
					expect(err, lambda.CodeInvalidParameter)
				case m.state == lambda.StateFailed || m.update == lambda.UpdateFailed:
					expect(err, lambda.CodeConflict)
				case m.last != 0 && m.lastWhat == m.what():
					expect(err, "")
					if eff.result.Key.Number != strconv.Itoa(m.last) {
						t.Fatalf("unchanged code published as %s, want %d", eff.result.Key.Number, m.last)
					}
				case bytes+size(m.code) > testLimits.CodeBytes:
					expect(err, lambda.CodeCodeStorageExceeded)
				default:
					expect(err, "")
					n := publish(m, lambda.StateActive)
					if eff.result.Key.Number != strconv.Itoa(n) || eff.result.State != lambda.StateActive {
						t.Fatalf("published %+v, want an active %d", eff.result, n)
					}
				}
			},
			"settle": func(t *rapid.T) {
				k, fail, old := key.Draw(t, "key"), flag.Draw(t, "fail"), rapid.IntRange(0, 3).Draw(t, "old") == 0
				m := models[k]
				c := settle{function: k}
				if m.exists {
					c.generation = w.records[k].Latest.Key.Generation
				}
				if old {
					c.generation-- // of a function or an update before
				}
				if fail {
					c.failure = &failure{"InternalError", "it broke"}
				}
				_, err := w.do(c)
				expect(err, "")
				if !m.exists || old || !m.busy() {
					return
				}
				switch {
				case !fail:
					m.state, m.update, m.runs = lambda.StateActive, lambda.UpdateSuccessful, m.run()
				case m.runs == "":
					m.state, m.update = lambda.StateFailed, lambda.UpdateFailed
				default:
					m.update = lambda.UpdateFailed
				}
				if m.waiting != 0 {
					m.ready[m.waiting] = lambda.StateActive
					if fail {
						m.ready[m.waiting] = lambda.StateFailed
						m.last = 0
					}
					m.waiting = 0
				}
			},
			"delete": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m := models[k]
				_, err := w.do(deleteFunction{k})
				if !m.exists {
					expect(err, lambda.CodeNotFound)
					return
				}
				expect(err, "")
				*m = model{highest: m.highest}
			},
			"deleteVersion": func(t *rapid.T) {
				k, n := key.Draw(t, "key"), rapid.IntRange(1, 4).Draw(t, "number")
				m := models[k]
				_, err := w.do(deleteVersion{k, strconv.Itoa(n)})
				if !m.exists {
					expect(err, lambda.CodeNotFound)
					return
				}
				expect(err, "")
				delete(m.published, n)
				delete(m.ready, n)
				if m.last == n {
					m.last = 0
				}
				if m.waiting == n {
					m.waiting = 0
				}
			},
			"reserve": func(t *rapid.T) {
				k, n := key.Draw(t, "key"), rapid.IntRange(0, 31).Draw(t, "concurrency")
				m := models[k]
				_, reserved, _ := total()
				_, err := w.do(reserve{k, &n})
				switch {
				case !m.exists:
					expect(err, lambda.CodeNotFound)
				case n > m.reserved && testLimits.Concurrency-(reserved-m.reserved+n) < testLimits.MinUnreserved:
					expect(err, lambda.CodeInvalidParameter)
				default:
					expect(err, "")
					m.reserved = n
				}
			},
			"unreserve": func(t *rapid.T) {
				k := key.Draw(t, "key")
				m := models[k]
				_, err := w.do(reserve{k, nil})
				if !m.exists {
					expect(err, lambda.CodeNotFound)
					return
				}
				expect(err, "")
				m.reserved = 0
			},
			"": func(t *rapid.T) {
				bytes, reserved, functions := total()
				if w.account.CodeBytes != bytes || w.account.Reserved != reserved || w.account.Functions != functions {
					t.Fatalf("account %+v, want %d bytes, %d reserved, %d functions", w.account, bytes, reserved, functions)
				}
				for k, m := range models {
					check(t, w, k, m)
					for _, v := range present(w, k) {
						text := v.Config.Description + what(v) + v.Code.SHA256
						if v.Key.Number != lambda.Latest {
							if old, ok := immutable[v.Key]; ok && old != text {
								t.Fatalf("%s changed from %q to %q", v.Key, old, text)
							}
							immutable[v.Key] = text
						}
						// A description is not part of what an environment is.
						run := fmt.Sprintf("%d/%d", v.Code.Size, v.Config.MemoryMB)
						if old, ok := served[v.Key]; ok && old != run {
							t.Fatalf("%s names both %q and %q", v.Key, old, run)
						}
						served[v.Key] = run
					}
				}
			},
		})
	})
}

// present returns all versions of a function, including what serves.
func present(w *world, k lambda.FunctionKey) (all []*lambda.Version) {
	if r := w.records[k]; r != nil {
		all = append(all, r.Latest)
		if r.Serving != nil {
			all = append(all, r.Serving)
		}
	}
	for _, v := range w.versions[k] {
		all = append(all, v)
	}
	return all
}

// check compares one function with its model.
func check(t *rapid.T, w *world, k lambda.FunctionKey, m *model) {
	r := w.records[k]
	if (r != nil) != m.exists {
		t.Fatalf("%s exists: %v, want %v", k, r != nil, m.exists)
	}
	if !m.exists {
		if len(w.versions[k]) > 0 {
			t.Fatalf("%s is deleted but has versions %v", k, w.versions[k])
		}
		return
	}
	if got := what(r.Latest); got != m.what() || r.Latest.State != m.state || r.Latest.UpdateStatus != m.update {
		t.Fatalf("$LATEST is %s %s/%s, want %s %s/%s", got, r.Latest.State, r.Latest.UpdateStatus, m.what(), m.state, m.update)
	}
	runs := ""
	if v := r.serving(); v != nil {
		runs = fmt.Sprintf("%d/%d", v.Code.Size, v.Config.MemoryMB)
		if v.State != lambda.StateActive {
			t.Fatalf("a version that is %s serves", v.State)
		}
	}
	if runs != m.runs {
		t.Fatalf("$LATEST runs %q, want %q", runs, m.runs)
	}
	var got, want []string
	for n, v := range w.versions[k] {
		got = append(got, fmt.Sprintf("%d:%s:%s:%s", n, v.Key.Number, what(v), v.State))
	}
	for n, text := range m.published {
		want = append(want, fmt.Sprintf("%d:%d:%s:%s", n, n, text, m.ready[n]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("versions %q, want %q", got, want)
	}
	if r.Function.LastPublished != m.highest {
		t.Fatalf("last published %d, want %d", r.Function.LastPublished, m.highest)
	}
}

func TestApplyChangesNothingGiven(t *testing.T) {
	w := newWorld()
	k := lambda.FunctionKey{Account: "000000000000", Name: "f"}
	one := 1
	env := map[string]string{"A": "1"}
	steps := []command{
		create{controlplane.NewFunction{Key: k, Publish: true}, pkg(1)},
		settle{function: k, generation: 1},
		updateCode{controlplane.CodeChange{Key: k, Publish: true}, pkg(2)},
		settle{function: k, generation: 2, failure: &failure{"c", "r"}},
		updateConfig{controlplane.ConfigChange{Key: k, Environment: env}},
		settle{function: k, generation: 3},
		publishVersion{controlplane.Publication{Key: k}},
		reserve{k, &one},
		deleteVersion{k, "3"},
		deleteFunction{k},
	}
	for i, c := range steps {
		r, versions := w.records[k], map[int]*lambda.Version{}
		for n, v := range w.versions[k] {
			versions[n] = v
		}
		before := mustJSON(t, r, versions)
		if _, err := w.do(c); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if after := mustJSON(t, r, versions); after != before {
			t.Errorf("step %d changed its input from\n%s to\n%s", i, before, after)
		}
	}
}

func mustJSON(t *testing.T, values ...any) string {
	t.Helper()
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
