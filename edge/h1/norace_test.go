//go:build !race

package h1

const raced = false
