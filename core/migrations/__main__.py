from core.migrations import main

main()
