// To the page of today, with the cell that the old address named. Without this script the page itself leads there.
"use strict";

location.replace(document.getElementById("moved").href + location.hash);
