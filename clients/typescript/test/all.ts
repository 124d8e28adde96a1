/** All tests, in one process: they share one system. */

import "./worker.test.js";
