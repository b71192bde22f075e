package functions

import (
	"fmt"
	"slices"
	"testing"

	"kiln/controlplane"
	"kiln/lambda"
)

// names returns "name:number" of each.
func names(versions []*lambda.Version) (out []string) {
	for _, v := range versions {
		out = append(out, v.Key.Name+":"+v.Key.Number)
	}
	return out
}

// pages collects all pages of a list, calling between after each.
func pages(t *testing.T, max int, get func(controlplane.Page) ([]*lambda.Version, string, error), between func(page int)) (out []string) {
	t.Helper()
	marker := ""
	for page := 0; ; page++ {
		items, next, err := get(controlplane.Page{Marker: marker, Max: max})
		if err != nil {
			t.Fatal(err)
		}
		if len(items) > max {
			t.Fatalf("a page of %d items, want at most %d", len(items), max)
		}
		out = append(out, names(items)...)
		if next == "" {
			return out
		}
		marker = next
		between(page)
	}
}

func TestListPages(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	ctx := t.Context()
	var want, wantAll []string
	// Names whose order differs with and without a separator after them.
	for i, name := range []string{"a", "a-b", "a0", "b", "c_c", "d"} {
		f.create(name, "code")
		want = append(want, name+":$LATEST")
		wantAll = append(wantAll, name+":$LATEST")
		for n := range i {
			memory := 128 + n
			if _, err := f.UpdateConfig(ctx, controlplane.ConfigChange{Key: key(name), MemoryMB: &memory}); err != nil {
				t.Fatal(err)
			}
			f.settled(name, "")
			v, err := f.Publish(ctx, controlplane.Publication{Key: key(name)})
			if err != nil {
				t.Fatal(err)
			}
			wantAll = append(wantAll, name+":"+v.Key.Number)
		}
	}
	other := newFunction("other-account", "code")
	other.Key.Account = "111111111111"
	if _, err := f.Create(ctx, other); err != nil {
		t.Fatal(err)
	}
	// The first configuration update of each leaves the memory as it was.
	for max := 1; max <= len(wantAll)+1; max++ {
		for all, want := range map[bool][]string{false: want, true: wantAll} {
			got := pages(t, max, func(p controlplane.Page) ([]*lambda.Version, string, error) {
				return f.List(ctx, testAccount, all, p)
			}, func(int) {})
			if !slices.Equal(got, want) {
				t.Errorf("all %v by %d: %q, want %q", all, max, got, want)
			}
		}
		got := pages(t, max, func(p controlplane.Page) ([]*lambda.Version, string, error) {
			return f.Versions(ctx, key("d"), p)
		}, func(int) {})
		if want := []string{"d:$LATEST", "d:1", "d:2", "d:3", "d:4", "d:5"}; !slices.Equal(got, want) {
			t.Errorf("versions by %d: %q, want %q", max, got, want)
		}
	}
	for _, marker := range []string{"!", "Zm9v", "Zjot"} {
		if _, _, err := f.List(ctx, testAccount, false, controlplane.Page{Marker: marker}); lambda.CodeOf(err) != lambda.CodeInvalidParameter {
			t.Errorf("marker %q: %v", marker, err)
		}
	}
}

func TestListIsStableUnderChange(t *testing.T) {
	f := newFixture(t, startStore(t, t.TempDir()))
	ctx := t.Context()
	var want []string
	for i := range 12 {
		name := fmt.Sprintf("f%02d", i)
		f.create(name, "code")
		want = append(want, name+":$LATEST")
	}
	got := pages(t, 3, func(p controlplane.Page) ([]*lambda.Version, string, error) {
		return f.List(ctx, testAccount, true, p)
	}, func(page int) {
		// What the marker names goes away; names before and after it come.
		last := fmt.Sprintf("f%02d", 3*page+2)
		if err := f.Delete(ctx, key(last), ""); err != nil {
			t.Fatal(err)
		}
		f.create(fmt.Sprintf("e%d", page), "code")
	})
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

func TestPagesAreBounded(t *testing.T) {
	for asked, want := range map[int]int{0: 50, 1: 1, 50: 50, 10000: 50} {
		if got := newList(controlplane.Page{Max: asked}).max; got != want {
			t.Errorf("a page of %d holds %d, want %d", asked, got, want)
		}
	}
}
