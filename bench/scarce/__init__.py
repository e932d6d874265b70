"""`scarce`: the whole system while shoppers want more than there is, and channels may refuse them."""
