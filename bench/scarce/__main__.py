"""`python -m bench.scarce`: play a part of the stream, with the goods, the pace and the mode one likes."""

from bench.scarce.measure import main

if __name__ == "__main__":
    main()
