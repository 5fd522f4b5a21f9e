// Command buildkit reads a Dockerfile as the builder of docker does and prints what it objects to: one
// line each, nothing when there is nothing. The rules are those of `docker build --check` that need no
// image.
package main

import (
	"fmt"
	"os"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	file, err := os.Open(os.Args[1])
	if err != nil {
		fail(err)
	}
	defer file.Close()
	read, err := parser.Parse(file)
	if err != nil {
		fail(err)
	}
	for _, warning := range read.Warnings {
		fmt.Println(warning.Short)
	}
	warn := func(rule, _, _, message string, _ []parser.Range) {
		fmt.Printf("%s: %s\n", rule, message)
	}
	stages, _, err := instructions.Parse(read.AST, linter.New(&linter.Config{Warn: warn}))
	if err != nil {
		fail(err)
	}
	// flags such as --mount are read once the words are known
	same := func(word string) (string, error) { return word, nil }
	for _, stage := range stages {
		for _, command := range stage.Commands {
			if words, ok := command.(instructions.SupportsSingleWordExpansion); ok {
				if err := words.Expand(same); err != nil {
					fail(fmt.Errorf("%s: %w", stage.Name, err))
				}
			}
		}
	}
}

func fail(err error) {
	fmt.Println(err)
	os.Exit(1)
}
