// Package protocol turns bytes into SignalR hub messages and back: the hub protocol codecs, the handshake that
// chooses between them, and the envelopes in which nodes hand messages to each other.
//
// It does no I/O and starts no goroutine. Nothing in it panics on hostile input, and nothing reserves memory for a
// length that a peer merely claims. The texts of its errors are those of ASP.NET Core for the same input, because
// clients and operators search for them.
//
// The public specifications are HubProtocol.md of dotnet/aspnetcore and, for the envelopes, the payloads of
// Microsoft.AspNetCore.SignalR.StackExchangeRedis, with whose nodes ours can share a Redis.
package protocol
