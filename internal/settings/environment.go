package settings

import (
	"regexp"
	"slices"
	"strings"
)

// serviceLink matches the variables that Kubernetes puts into every container for each Service of the namespace. With a
// Service called "hubfleet" they begin like ours: HUBFLEET_SERVICE_HOST, HUBFLEET_PORT_8080_TCP_ADDR.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink says whether a variable is one of those.
func isServiceLink(name, text string) bool {
	return serviceLink.MatchString(name) || strings.HasSuffix(name, "_PORT") && strings.Contains(text, "://")
}

// parseEnvironment reads the variables with our prefix, in alphabetical order.
func (t *Table) parseEnvironment(environ []string) ([]given, Problems) {
	var found []given
	var problems Problems
	sorted := slices.Sorted(slices.Values(environ))
	for _, entry := range sorted {
		name, text, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, t.Prefix) || t.ignored(name) {
			continue
		}
		where := name + " in the environment"
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, t.Prefix), "_", "-"))
		s, file, ok := t.find(flag)
		switch {
		case ok && s.FlagOnly:
			problems = append(problems, Problem{where, "is a flag only: --" + s.Name})
		case ok && name == envName(t.Prefix, flag):
			found = append(found, given{setting: s, text: text, where: where, file: file})
		case isServiceLink(name, text):
		default:
			problems = append(problems, Problem{where, t.unknown("setting", "", name, t.envNames())})
		}
	}
	return found, problems
}

// ignored says whether a variable with our prefix is none of our business.
func (t *Table) ignored(name string) bool {
	return slices.ContainsFunc(t.Ignore, func(start string) bool { return strings.HasPrefix(name, start) })
}

// envNames is every variable that means something.
func (t *Table) envNames() []string {
	var names []string
	for _, flag := range t.flagNames() {
		if s, _, _ := t.find(flag); !s.FlagOnly {
			names = append(names, envName(t.Prefix, flag))
		}
	}
	return names
}
