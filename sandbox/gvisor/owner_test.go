package gvisor

func ownerMain() {}
