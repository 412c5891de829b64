"""What lies between models and around one: lines, planes, neighbourhoods and noise, each as a recipe that is swept."""
