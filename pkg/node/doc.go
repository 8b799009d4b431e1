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
package node
