"""The method: the objective and one file per term, the network, the encoding of labels."""
