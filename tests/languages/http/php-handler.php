<?php
// The HTTP handler under test in PHP: what tests/support/http_scenarios.py asks of a handler.
// The test puts the function verified() of docs/http-handlers.md before it.
$call = verified();
$done = function () use ($call) {
    http_response_code(201);
    echo "done {$call['attempt']}";
};
if ($call === null) {
    http_response_code(401);
} elseif ($call['reason'] !== 'CALL') {
    http_response_code(204);
} else {
    switch ($call['callbackActivityCase'] ?? '') {
        case 'reject':
            http_response_code(422);
            echo 'no';
            break;
        case 'fail':
            throw new Exception('as the scenario says');
        case 'wait':
            while (!file_exists('released')) {
                usleep(20_000);
                clearstatcache();
            }
            $done();
            break;
        case 'echo':
            header('Content-Type: application/x-echo');
            header("X-Echo: {$call['requestMethod']} {$_SERVER['HTTP_X_VALUE']}");
            echo file_get_contents('php://input');
            break;
        case 'redirect':
            header("Location: https://shop.example/{$call['requestQuery']['to']}", true, 307);
            break;
        case 'keep-open':
            header('Callback-Decision: keep-open');
            break;
        case 'later':
            $call['attempt'] === 1 ? http_response_code(503) : $done();
            break;
        case 'large':
            echo str_repeat("\0", 1024 * 1024 + 1);
            break;
        default:
            $done();
    }
}
