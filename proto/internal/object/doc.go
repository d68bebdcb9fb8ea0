// Package object walks a JSON object field by field, for decoders that are exact: names match in every letter, the
// order is the sender's, a field given twice can be seen, and a number stays the text that it was. encoding/json
// checks the text first, so that the walk itself cannot meet anything that is not JSON.
package object
