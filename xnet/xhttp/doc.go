// Package xhttp is net/http over any [xnet.Networker]: clients, servers, and a dial function that undoes what
// net/http does to host names.
//
// net/http and curl put a host name that is not ASCII into the form DNS has for it before they dial:
// http://α:80/ dials "xn--mxa:80". Hosts of virtual networks are called α, so [DialContext] turns such
// names back. Servers still see the encoded form in Request.Host.
package xhttp
