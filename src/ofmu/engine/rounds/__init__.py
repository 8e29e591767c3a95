"""The rounds of OFMU: Algorithm 1 on minibatches, one file a decision, in the order in which a round takes them.

settings    what a run goes by
losses      the batches of a step, L_f and L_r on them
place       where ∇Φ is evaluated, and the way back from there
places      the places by option: θ, the sharpest point around it,
adversary   and where what was forgotten has been taught again
phi         ∇Φ there: the forget gradient, the similarity and its curvature
shapings    what is done to ∇Φ before the step
(the step itself is the optimiser's, ``ofmu.engine.optimiser``)
outer       ∇F = ∇L_r + penalty, and ρ
record      what a round saw
process     the round
"""
