package hub

// Context is a hub as code outside its methods sees it: HTTP handlers, jobs, other hubs. It is what IHubContext is to
// ASP.NET Core. It is safe for concurrent use.
type Context struct{ host *host }

// Name is the hub's name on the backplane.
func (c *Context) Name() string { return c.host.name }

// Clients says to whom to send.
func (c *Context) Clients() Clients { return Clients{host: c.host} }

// Groups changes who is in which group.
func (c *Context) Groups() Groups { return Groups{host: c.host} }

// Connections is how many connections the hub has on this node.
func (c *Context) Connections() int { return c.host.all.len() }
