from minigrad.engine import *
