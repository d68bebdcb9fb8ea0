package front

func accepting() []string { return []string{byPollers, byHTTP, overTLS} }
