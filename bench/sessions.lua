-- Asks a host (the first argument) with the Cookie fields of a file (the second), one a line, in an order in which neighbours of the file are far apart.
local requests, at = {}, 0

function init(args)
  for line in io.lines(args[2]) do
    requests[#requests + 1] = wrk.format("GET", nil, { Host = args[1], Cookie = line })
  end
end

function request()
  at = (at + 7919) % #requests -- a prime: every one has its turn
  return requests[at + 1]
end
