package placement

import (
	"slices"

	"kiln/invoke"
	"kiln/lambda"
)

// The weights of the score, in terms of a load's unevenness, which is the sum of
// the squares of its shares. Stickiness makes up for a moderate difference in
// load, 45 % against 33 % of one resource; beyond a function's or an account's share
// crowding outweighs both.
const (
	stickiness = 0.1
	crowding   = 5.0
	unrested   = 100.0  // a resting worker comes after all others
	avoided    = 1000.0 // one that has just failed the version comes last
)

// stickyChoices is how many of a function's own workers are considered.
const stickyChoices = 4

// choice is one decision in the making.
type choice struct {
	core     *Core
	fn       *workload // nil when nothing of the function is placed
	account  *workload
	claim    claim
	avoid    []invoke.WorkerID
	excluded []invoke.WorkerID
	best     *node
	score    float64
}

// choose returns the node for a slot of v, nil if there is none.
func (c *Core) choose(v *lambda.Version, avoid, excluded []invoke.WorkerID) *node {
	ch := choice{core: c, fn: c.functions[v.Key.FunctionKey], account: c.accounts[v.Key.Account],
		claim: need(v), avoid: avoid, excluded: excluded}
	if ch.fn != nil {
		own := ch.fn.nodes
		for _, i := range own[max(len(own)-stickyChoices, 0):] {
			ch.consider(c.nodes[i])
		}
	}
	if len(c.alive) <= 2*c.cfg.Choices {
		ch.considerAll()
		return ch.best
	}
	for range c.cfg.Choices {
		ch.consider(c.alive[c.random.IntN(len(c.alive))])
	}
	if ch.best == nil || ch.score >= unrested {
		ch.considerAll()
	}
	return ch.best
}

func (ch *choice) considerAll() {
	for _, n := range ch.core.alive {
		ch.consider(n)
	}
}

// consider makes n the best if it can take the slot and scores lower.
func (ch *choice) consider(n *node) {
	if n == ch.best || !n.open() || n.refused > 0 && ch.claim.memoryMB >= n.refused {
		return
	}
	c := ch.core
	after := c.load(n, ch.claim, 1)
	if after.peak() > 1 {
		return
	}
	score := after.unevenness()
	if n.resting {
		score += unrested
	}
	if ch.best != nil && score-stickiness >= ch.score {
		return // nothing below can make up for it
	}
	function, account := int32(0), int32(0)
	if ch.fn != nil {
		function = ch.fn.at(n.index)
	}
	if ch.account != nil {
		account = ch.account.at(n.index)
	}
	own := share(function+ch.claim.memoryMB, n.status.Capacity.MemoryMB, c.cfg.Overcommit.Memory)
	all := share(account+ch.claim.memoryMB, n.status.Capacity.MemoryMB, c.cfg.Overcommit.Memory)
	if function > 0 {
		score -= stickiness
	}
	score += crowd(own, c.cfg.FunctionShare) + crowd(all, c.cfg.AccountShare)
	if slices.Contains(ch.avoid, n.status.ID) {
		score += avoided
	}
	if (ch.best == nil || score < ch.score) && !slices.Contains(ch.excluded, n.status.ID) {
		ch.best, ch.score = n, score
	}
}

// crowd is the price of a workload's share of a worker: nothing up to the share
// it may have, more than any load at once beyond it, and rising from there.
func crowd(share, may float64) float64 {
	if share <= may {
		return 0
	}
	return crowding * min(share/may, 4)
}
