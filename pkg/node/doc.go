// Package node wires hubs, backplane, cluster, authentication and metrics into one running node.
//
// A program that wants more than hubs in one process needs about this much:
//
//	n, err := node.New(node.Config{
//		Listen: ":8080",
//		Redis:  "redis://localhost:6379",
//		JWT:    auth.Options{Secret: secret},
//		Logger: slog.Default(),
//	})
//	if err != nil {
//		log.Fatal(err)
//	}
//	if err := n.Map("/chat", Chat{}); err != nil {
//		log.Fatal(err)
//	}
//	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
//	defer stop()
//	if err := n.Run(ctx); err != nil {
//		log.Fatal(err)
//	}
//
// The node serves clients on one listener and the operator on another: /metrics, /healthz, /readyz and /debug/pprof.
//
// While Redis is away, the Redis client below writes a line to standard error for each attempt to connect, whatever Config.Logger is. Its
// logger is one for the whole program, and so the program's to set: logging.Disable() of github.com/redis/go-redis/v9/logging ends it,
// and redis.SetLogger puts another in its place, as cmd/node does. Nothing is missed: Config.Logger is told when Redis goes and comes.
package node
