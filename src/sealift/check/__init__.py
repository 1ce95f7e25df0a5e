"""Staged release -> CheckReport: what must hold on this very box before traffic."""
