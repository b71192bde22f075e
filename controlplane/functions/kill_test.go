package functions

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"kiln/controlplane"
	"kiln/lambda"
	"kiln/store/etcd"
)

// writerDir makes the test binary a process that writes to the registry in that
// directory until it is killed.
const writerDir = "KILN_TEST_WRITER_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := write(dir, os.Getenv("KILN_TEST_WRITER_ROUND")); err != nil {
			fmt.Println("error", err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// write creates, updates, publishes and deletes functions, and says so on standard
// output after each acknowledgement.
func write(dir, round string) error {
	ctx := context.Background()
	server, err := etcd.Start(ctx, etcd.Config{Dir: dir})
	if err != nil {
		return err
	}
	s := New(Config{Client: server.Client(), Region: "us-east-1", Intake: fakeIntake{}, Preparer: &fakePreparer{}})
	for i := 0; ; i++ {
		name := fmt.Sprintf("r%s-%d", round, i)
		request := newFunction(name, "code "+name)
		request.Publish = true
		if _, err := s.Create(ctx, request); err != nil {
			return err
		}
		fmt.Println("created", name)
		if err := s.PutConcurrency(ctx, key(name), 1); err != nil {
			return err
		}
		fmt.Println("reserved", name)
		if deletes(name) {
			if err := s.Delete(ctx, key(name), ""); err != nil {
				return err
			}
			fmt.Println("deleted", name)
			continue
		}
		// An update is refused while the creation is being prepared; then try the next.
		if _, err := s.UpdateCode(ctx, controlplane.CodeChange{Key: key(name), Zip: []byte("new code")}); err == nil {
			fmt.Println("updated", name)
		}
	}
}

// deletes reports whether the writer deletes the function after all.
func deletes(name string) bool {
	var round, i int
	fmt.Sscanf(name, "r%d-%d", &round, &i)
	return i%3 == 2
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	state := map[string]string{} // name → last acknowledged word
	for round := range 3 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), writerDir+"="+dir, fmt.Sprint("KILN_TEST_WRITER_ROUND=", round))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for scan := bufio.NewScanner(out); scan.Scan(); {
			word, name, _ := strings.Cut(scan.Text(), " ")
			if word == "error" {
				t.Errorf("the writer failed: %s", name)
			}
			state[name] = word
			if lines++; lines == 60+37*round {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		child.Wait() // killed, as it should be
	}

	f := newFixture(t, startStore(t, dir))
	ctx := t.Context()
	for name, word := range state {
		_, fn, err := f.Get(ctx, key(name), "")
		if word == "deleted" {
			if lambda.CodeOf(err) != lambda.CodeNotFound {
				t.Errorf("%s was deleted: %v", name, err)
			}
			continue
		}
		if err != nil && lambda.CodeOf(err) == lambda.CodeNotFound && word == "reserved" && deletes(name) {
			continue // its deletion was stored, but killed before it was acknowledged
		}
		if err != nil {
			t.Errorf("%s was %s: %v", name, word, err)
			continue
		}
		if v := f.settled(name, ""); v.State != lambda.StateActive {
			t.Errorf("%s is %s", name, v.State)
		} else if word == "updated" && v.Code.Size != int64(len("new code")) {
			t.Errorf("%s lost its update", name)
		}
		if v := f.settled(name, "1"); v.State != lambda.StateActive {
			t.Errorf("version 1 of %s is %s", name, v.State)
		}
		if word != "created" && (fn.ReservedConcurrency == nil || *fn.ReservedConcurrency != 1) {
			t.Errorf("%s lost its reservation", name)
		}
	}
	checkAccount(t, f)
}

// checkAccount compares the account's sums with its functions.
func checkAccount(t *testing.T, f *fixture) {
	t.Helper()
	var want account
	_, err := f.store.scan(t.Context(), all(recordPrefix), func(_ int64, _ string, value []byte) (bool, error) {
		r, err := decode[record](value)
		if err != nil {
			return false, err
		}
		want.Functions++
		want.CodeBytes += r.CodeBytes
		if n := r.Function.ReservedConcurrency; n != nil {
			want.Reserved += *n
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	usage, err := f.AccountUsage(t.Context(), testAccount)
	if err != nil {
		t.Fatal(err)
	}
	got := account{
		Functions: int(usage.FunctionCount),
		CodeBytes: usage.UsedCodeSize,
		Reserved:  usage.ConcurrentExecutions - usage.UnreservedConcurrentExecutions,
	}
	if got != want {
		t.Errorf("the account has %+v, its functions add up to %+v", got, want)
	}
}
