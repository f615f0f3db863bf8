"""Taking over: what another scheduler of this machine runs, as schedules and scriptlets of lq.

Owns: reading crontabs and systemd timers, the block of lq.toml that stands for them, and the lines
that are switched off for it. Never talks to a daemon, runs nothing, prints nothing.

Invariant: nothing is lost unsaid. Whatever is read becomes a Job, or a Left with its reason; and of
a file nothing is changed but the lines that these modules wrote or marked themselves.

    job        what was found: a Job that lq can run, or what is Left
    crontab    the text of a crontab -> entries
    debian     the times of a crontab's entry, and when Debian's cron runs it
    fromcron   entries of a crontab -> jobs
    calendar   systemd's OnCalendar -> cron rules
    units      the text of systemd's unit files, and its command lines
    fromtimer  a timer and its service -> jobs
    compare    what lq and the old scheduler make of the same times
    naming     names for jobs, from what people wrote about them
    block      jobs -> the marked block of lq.toml
    switch     lines of a crontab, switched off and on again
    files      files replaced whole or not at all
"""
