package settings

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	// Where names the setting as the user wrote it: "--redis", "HUBFLEET_REDIS", "node.yaml:3: redis".
	Where string
	// Text says what is wrong with it and what would be right.
	Text string
}

func (p Problem) String() string { return p.Where + ": " + p.Text }

// Problems is the error of a Load: everything that is wrong, in the order flags, environment, file.
type Problems []Problem

// Error is one line for a single problem, else a heading and a line for each.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d problems in the settings:", len(p))
	for _, problem := range p {
		b.WriteString("\n  ")
		b.WriteString(problem.String())
	}
	return b.String()
}

// closest is the name that was probably meant, or "" when none is near.
func closest(name string, names []string) string {
	best, bestDistance := "", 3 // more than two typing errors apart is another word
	for _, n := range names {
		if d := distance(name, n); d < bestDistance {
			best, bestDistance = n, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace to make a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
