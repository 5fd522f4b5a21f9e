"""What `roundhouse doctor` looks at, by what is looked at; each examination is a small function."""
