package sign

import "strings"

// otherDigest begins the problem of a record that is signed by whom it should, and lies beside another digest than it speaks of.
const otherDigest = "about another digest"

// Falsified tells from a record's Problem that it speaks falsely in a trusted signer's name: it was changed after it was signed, or laid beside another
// digest. Anything else that isn't valid is somebody else's, or can't be told from that.
func Falsified(problem string) bool {
	return problem == errChanged.Error() || strings.HasPrefix(problem, otherDigest)
}
