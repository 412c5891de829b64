"""Recipes: YAML text becomes a checked, frozen description of what to read, compute and save."""

from weightmath.recipe.build import Built as Built
from weightmath.recipe.build import build as build
from weightmath.recipe.build import check as check
from weightmath.recipe.overrides import from_expression as from_expression
from weightmath.recipe.overrides import with_overrides as with_overrides
from weightmath.recipe.pinning import with_pins as with_pins
from weightmath.recipe.plain_data import of_data as of_data
from weightmath.recipe.plain_data import text_of as text_of
from weightmath.recipe.recipe import Recipe as Recipe
from weightmath.recipe.recipe import load as load
from weightmath.recipe.recipe import loads as loads
from weightmath.recipe.recipe import read as read
from weightmath.recipe.spec import InputSpec as InputSpec
from weightmath.recipe.spec import RecipeSpec as RecipeSpec
from weightmath.recipe.spec import SaveSpec as SaveSpec
