package conf

// Keys gives the keys that the loader knows, by the tables that they stand in as docs/CONFIG.md names those: "" is the top of the file. A table
// whose keys the file chooses has none. Whoever speaks of every key finds by it what was forgotten.
func Keys() map[string][]string { return learn() }
