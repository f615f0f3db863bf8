"""The admin panel: pages for people, served beside the API and made of what it answers.

A client of the API inside the daemon: each page asks it as whoever is logged in, so that nothing
can be seen or done here that their token could not. It owns logins, forms and looks; never a rule
about jobs.
"""
