package astranet

import (
	"fmt"
	"path"
	"slices"
)

// Rules say who may do what. The first rule that fits decides, and Allow if none does. A node asks its own rules, for what it
// does itself and for what others want of it, so both ends of a dial have a say, and a node takes no notice of services that the
// one which has them may not bind. What a node may not dial it does not see in lookups either.
//
//	rules := &astranet.Rules{List: []astranet.Rule{
//		{Allow: true, Do: astranet.BindAction, From: "billing-*", Service: "billing"}, // nobody else is it
//		{Do: astranet.BindAction, Service: "billing"},
//		{Allow: true, Do: astranet.DialAction, From: "web-*", To: "billing-*", Service: "billing"},
//		{Do: astranet.DialAction, To: "billing-*"},
//	}, Allow: true}
//
// They are constant. Files can have them: all of it is plain data, for encoding/json and the like.
type Rules struct {
	List  []Rule
	Allow bool // what no rule fits is allowed
}

// A Rule allows or denies some nodes something. From, To and Service are patterns as path.Match has them, in which * does not
// cross a slash, for names of nodes as their certificates have them, and of services; an empty pattern fits everything. A node without
// Credentials has the name "", and a port without a service is the service "": these "?*" does not fit.
type Rule struct {
	Allow   bool
	Do      Action
	From    string // who dials, or binds
	To      string // who is dialled; of Bind not looked at
	Service string // full name, environment included. Of a dial to a host's port it is that of the service at the port
}

// An Action is something that rules are about. As text it is "", "dial" or "bind".
type Action uint8

// Actions.
const (
	AnyAction Action = iota
	DialAction
	BindAction
)

var actions = [...]string{AnyAction: "", DialAction: "dial", BindAction: "bind"}

// MarshalText returns the action as text.
func (a Action) MarshalText() ([]byte, error) {
	if int(a) >= len(actions) {
		return nil, fmt.Errorf("astranet: there is no action %d", a)
	}
	return []byte(actions[a]), nil
}

// UnmarshalText takes an action as text.
func (a *Action) UnmarshalText(text []byte) error {
	i := slices.Index(actions[:], string(text))
	if i < 0 {
		return fmt.Errorf("astranet: there is no action %q, but dial and bind", text)
	}
	*a = Action(i)
	return nil
}

// Check tells whether all patterns are well-formed, and all actions known. All calls of a node with other rules fail.
func (r *Rules) Check() error {
	for i, rule := range r.List {
		if int(rule.Do) >= len(actions) {
			return fmt.Errorf("rule %d: there is no action %d", i+1, rule.Do)
		}
		for _, p := range []string{rule.From, rule.To, rule.Service} {
			if _, err := path.Match(p, ""); err != nil {
				return fmt.Errorf("rule %d: pattern %q: %w", i+1, p, err)
			}
		}
	}
	return nil
}

// allow tells whether the rules allow it. Nil rules allow everything.
func (r *Rules) allow(do Action, from, to, service string) bool {
	if r == nil {
		return true
	}
	for _, rule := range r.List {
		if rule.fits(do, from, to, service) {
			return rule.Allow
		}
	}
	return r.Allow
}

func (r *Rule) fits(do Action, from, to, service string) bool {
	return (r.Do == AnyAction || r.Do == do) && fits(r.From, from) && (do == BindAction || fits(r.To, to)) && fits(r.Service, service)
}

func fits(pattern, name string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
