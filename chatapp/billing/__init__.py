"""The billing core: every paid step is priced, held, settled, recorded once and delivered once."""
