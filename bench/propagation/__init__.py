"""From a sale on one channel to the number confirmed on the others."""
