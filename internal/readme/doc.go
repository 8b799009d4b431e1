// Package readme holds the documents of this repository to the code: programs compile, links lead somewhere, and every
// command, flag, metric, test and file that they name exists. It holds nothing but the tests.
package readme
