// Package vdns gives the hosts of a virtual network a *net.Resolver, for code that takes one, or that insists on
// resolving a name before it dials:
//
//	ips, err := vdns.Resolver(host).LookupNetIP(ctx, "ip", "beta")
//	conn, err := host.Dial(ctx, net.JoinHostPort(ips[0].String(), "80"))
//
// Behind it is a DNS server in memory that asks the network's registry. It has AAAA records of hosts
// ([virtnet.HostIP]) and PTR records of their addresses, and nothing is ever sent to a real DNS server. Code that can
// take a function instead is better served by [virtnet.Host.LookupNetIP] and its sisters, of which none of the following
// is true.
//
// # What package net does to names
//
//   - It looks up domain names only: letters, digits, hyphens and underscores between dots. A name that is not ASCII
//     has to be in the form that DNS has for it, as net/http puts it ("xn--mxa" for "α"); other names, such as "two
//     words", it finds nowhere.
//   - What is in the machine's /etc/hosts it takes from there: "localhost" is 127.0.0.1, also if the network has a host
//     of that name. Where nsswitch.conf has only files for hosts it finds no others.
//   - It tries a name without a dot with the search domains of resolv.conf first. There are no such hosts, so the
//     name itself is found then; only if there is a host "b.example.com" is "b" that one where example.com is searched.
//     A dot at the end ("b.") says that nothing is to be added.
//   - Its errors name the server of resolv.conf, which it believes to have asked. Its time-outs are those of
//     resolv.conf too, in virtual time in a bubble.
//   - LookupAddr returns names as DNS has them, with a dot at the end. A host whose name is no domain name, or changes
//     when it is made one (DNS has no upper case that is not ASCII), has no PTR record.
//
// DNS does not tell upper from lower case, and hosts do: a name is looked up as it is written.
//
// # Bubbles
//
// Package net makes channels for all lookups of the process when the first one comes. Made in a bubble of
// testing/synctest they belong to that bubble, and the next lookup from outside it, or from another, ends the process
// with "send on synctest channel from outside bubble". This package therefore makes a first lookup when the program
// starts, which goes nowhere and takes half a millisecond: after that lookups work in every bubble and outside, in any
// order, with Resolver and with those of package net that do not call the operating system. Dialling by name needs none
// of this: neither [virtnet.Host.DialContext] nor net/http on top of it looks anything up.
package vdns
