// Package archtest guards the import arrows between this module's packages, as docs/architecture.md draws them.
// It holds nothing but the test.
package archtest
