// Package settings reads the settings of a command from flags, the environment and a YAML file.
//
// One table says everything about a setting: its name, its default, what it means, where it goes. From the name come
// the flag (--keep-alive), the variable (HUBFLEET_KEEP_ALIVE) and the key in the file (keep-alive). A flag beats the
// environment, the environment beats the file, the file beats the default. A setting that is a secret, or says so, can
// also be read from a file named by NAME-file, in all three places.
//
// Nothing is passed over in silence: an unknown flag, variable or key, a bad value, a value and a file for it in the same place, a key twice in the YAML file are
// problems, and all of them are reported together, each with the place it came from and what would be right.
package settings
