"""Where reports arrive: folders, Maildirs, mbox files, IMAP. Each hands over mails and is told when they are stored."""
