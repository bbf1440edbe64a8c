// Package xhttp is net/http over any [xnet.Networker]: clients and servers.
//
// A client's URL may name any host, http://α:80/ too, although net/http dials "xn--mxa:80" for it:
// [xnet.DialContext] undoes that. Servers still see the encoded form in Request.Host.
package xhttp
