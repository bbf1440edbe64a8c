package astranet_test

const childPart = "ASTRANET_TEST_CHILD"

// children are the parts that this program plays in another process, which childPart in its environment says.
var children = map[string]func() int{"relay": relayChild}
