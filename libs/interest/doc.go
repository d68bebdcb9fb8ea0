// Package interest is a live, read-only view of the KV store INTEREST: which symbols each
// bucket of the region wants. Routers and registries have one each. It confirms itself (see
// kvview), because a router that serves a bucket that is gone wastes a share of its work for
// ever, and one that does not know of a bucket leaves ten thousand clients without prices.
package interest
