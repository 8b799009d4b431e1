// Package redistest starts private Redis servers for tests.
package redistest
