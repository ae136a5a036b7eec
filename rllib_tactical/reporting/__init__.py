"""The toolkit of HTML reports: pages, plots and number formats."""
