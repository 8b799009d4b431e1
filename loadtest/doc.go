// Command loadtest puts load on SignalR servers and says what came of it.
//
//	loadtest [flags]            one scenario against --url
//	loadtest compare [flags]    the same against several targets in turns: medians and ratios
//	loadtest bench [flags]      what nodes cost beside the bare server
//	loadtest bare [flags]       the bare server by itself
//
// Every message carries its sender, its number and the moment it was due. Each connection checks the numbers: what is
// lost, doubled or out of order is printed, and the exit status is then 1. Latency counts from the moment a message
// was due, not from when it was sent, so that a server that stalls does not hide it (coordinated omission).
//
// The bare server is the least that could do the job: frames are made once, and written. What it costs is the measure
// for others: only a server that joins more of what waits can cost less.
package main
