"""What each command of `gateway` does. stdout is data, stderr is talk."""
