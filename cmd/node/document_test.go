package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const configurationDocument = "../../docs/configuration.md"

// configurationIntro stands above the tables.
const configurationIntro = "# Configuration\n" + `
<!-- Made from the settings of cmd/node by "make generate". -->

Every setting of a node is a flag, a variable in the environment, and a key of the YAML file that ` + "`--config`" + ` names. A flag
beats the environment, the environment beats the file. An unknown flag, variable with the prefix ` + "`HUBFLEET_`" + ` or key, and a
value that is wrong, stop the start with exit code 2 and a message that names it.

A † can be read from a file instead: ` + "`--redis-file=PATH`, `HUBFLEET_REDIS_FILE`, `redis-file`" + `. Secrets belong there. They are
masked in the log, whose first line has all settings in force.

Durations have a unit: ` + "`15s`, `500ms`, `1m30s`" + `. Sizes are bytes, or have one: ` + "`32768`, `64KiB`, `1MiB`" + `. Lists are separated by
commas, or are lists in the file. What a switch does it does without a value; ` + "`--demo=false`" + ` turns it off.

` + "```yaml\nlisten: \":8080\"\nredis-file: /run/secrets/redis-url\nallowed-origins: [https://app.example.com]\n```" + `

` + "`node healthcheck`, with the same settings, asks a running node whether it is ready, and exits with 0 if it is; `node --version` with" + `
settings checks them and does no more.
`

// TestConfigurationDocument holds docs/configuration.md to the settings. HUBFLEET_UPDATE=1 writes it.
func TestConfigurationDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString(configurationIntro)
	if err := newConfig(false).table.WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	if os.Getenv("HUBFLEET_UPDATE") != "" {
		if err := os.WriteFile(configurationDocument, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurationDocument)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/configuration.md is not what the settings say: run make generate (-settings +document):\n%s", diff)
	}
}
