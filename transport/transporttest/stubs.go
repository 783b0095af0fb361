package transporttest

func starting() []scenario  { return nil }
func resets() []scenario    { return nil }
func ending() []scenario    { return nil }
func beating() []scenario   { return nil }
func stalling() []scenario  { return nil }
func guarding() []scenario  { return nil }
func limiting() []scenario  { return nil }
func draining() []scenario  { return nil }
func surviving() []scenario { return nil }
func polling() []scenario   { return nil }
