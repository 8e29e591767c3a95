"""Many models of one recipe, for what no single model can show: U-LiRA's shadow models, KLoM's oracles."""
