"""Wish + Host -> Target; Target + Host + Interpreter -> what does not fit."""
